"""What a person calls an object: `NAME` or `NAMESPACE/NAME`."""

from spacelift_aws_cli.exits import Exit, UserError


def split(text: str, namespace: str) -> tuple[str, str]:
    """Namespace and name; the namespace is the given one where the text has none. Raises UserError."""
    parts = text.split("/")
    if len(parts) > 2 or not all(parts):
        raise UserError(f"`{text}` names no object: write NAME or NAMESPACE/NAME.", Exit.USAGE)
    return (parts[0], parts[1]) if len(parts) == 2 else (namespace, parts[0])
