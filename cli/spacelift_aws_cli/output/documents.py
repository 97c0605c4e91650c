"""JSON and YAML, in and out. PyYAML is loaded where YAML is met."""

import json
from typing import Any

from spacelift_aws_cli.options import Output


def parse(text: str) -> list[Any]:
    """The documents of a text, JSON or YAML. Raises ValueError with the place of what is wrong."""
    if text.lstrip().startswith("{"):
        try:
            return [json.loads(text)]
        except ValueError:
            pass  # YAML's own braces, perhaps
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [document for document in yaml.load_all(text, Loader=loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{getattr(error, 'problem', None) or 'it is not YAML'}{place}") from None


def parse_one(text: str) -> Any:
    """The first document of a text; None where there is none."""
    return next(iter(parse(text)), None)


def written(content: Any, form: Output) -> str:
    """The text of an answer, with a line end."""
    if form is Output.JSON:
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
