"""`make audit`: the audit of data sets. `python -m analysis.audit --help` lists the options."""

from analysis.audit.options import AuditCommand
from cache.command import main

if __name__ == "__main__":
    main(AuditCommand, "analysis.audit.run:run", command="python -m analysis.audit")
