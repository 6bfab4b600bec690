"""A ledger worked out again from the record, inboxes and alert topics, to be compared with the kept one."""
