"""`python -m spacelift_aws_cli`."""

from spacelift_aws_cli.main import main

if __name__ == "__main__":
    main()
