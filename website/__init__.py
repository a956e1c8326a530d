"""The site: what MkDocs is told about its pages. `make docs` runs it; `mkdocs.yml` names the pages."""
