"""Making a record: plan, supervisor, monitor, worker and journal."""
