"""Tools: functions on the host that an agent may call."""
