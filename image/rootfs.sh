#!/bin/sh
# Makes a root file system of the files of some installed Debian packages, without a shell: rootfs.sh TARGET
set -eu
root="$1"
packages="base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5
    libpython3.11-minimal libpython3.11-stdlib libssl3 libuuid1 netbase python3.11-minimal zlib1g"

mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc" "$root/var/lib/dpkg/status.d"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
mkdir -m 1777 "$root/tmp"

for package in $packages; do
    dpkg-query --listfiles "$package" | while read -r file; do
        case "$file" in
            */copyright) ;; # licences go with what they are for
            /usr/share/* | /etc/* | /usr/sbin/* | /bin/* | /sbin/* | /root | /var/* | */gconv/* | */ensurepip/*) continue ;;
            */test/* | */idlelib/* | */lib2to3/* | */tkinter/* | */pydoc_data/* | */config-3*) continue ;;
            # What these need is not here.
            *_sqlite3* | *_curses* | */readline.* | *_dbm.* | *_gdbm.* | */nis.* | *_tkinter* | *_ctypes_test*) continue ;;
        esac
        if [ -f "$file" ] || [ -L "$file" ]; then echo "$file"; fi
    done | tar --create --file=- --no-recursion --files-from=- 2>/dev/null | tar --extract --keep-directory-symlink --directory="$root"
    # Where scanners look for what is inside an image without a package manager.
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
done

for file in /etc/ssl/certs/ca-certificates.crt /etc/services /etc/protocols; do
    mkdir -p "$root$(dirname "$file")" && cp "$file" "$root$file"
done
ln -s ../usr/lib/os-release "$root/etc/os-release"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'nonroot:x:65532:65532:nonroot:/:/nonexistent' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"
ln -s python3.11 "$root/usr/bin/python3"
ldconfig -r "$root"
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$root" "$root/usr/lib/python3.11"

# Every library finds those that it needs, in there.
loader="$(cd "$root" && echo usr/lib/*/ld-linux-*.so.*)"
find "$root/usr" -name '*.so*' -type f | while read -r file; do
    if chroot "$root" "/$loader" --list "${file#"$root"}" 2>&1 | grep 'not found'; then
        echo "rootfs.sh: ${file#"$root"} lacks a library" >&2
        exit 1
    fi
done
