"""What imports came to, kept to be read at the desk."""

from datetime import datetime

from sqlmodel import Session, col, select

from subscribers.models import Imported
from subscribers.report import Report


def keep_report(session: Session, report: Report, ground: str, now: datetime) -> None:
    """The report of what was imported is kept; no line of it, for those hold addresses."""
    counts = {str(verdict): number for verdict, number in report.counts.items() if number}
    session.add(
        Imported(
            at=now,
            file=report.file,
            program=report.program,
            hash=report.hash,
            ground=ground,
            rows=report.rows,
            counts=counts,
        )
    )


def imports(session: Session, most: int) -> list[Imported]:
    """The last imports, *most* of them, the latest first."""
    return list(session.exec(select(Imported).order_by(col(Imported.id).desc()).limit(most)))
