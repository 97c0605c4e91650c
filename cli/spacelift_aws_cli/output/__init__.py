"""How answers are written: tables and pages for people, JSON and YAML for programs."""
