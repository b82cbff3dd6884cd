"""From what the runs wrote to a report that a careful person believes."""
