"""What every process shares: it watches, keeps what was seen, queues keys, elects a leader, and stops."""
