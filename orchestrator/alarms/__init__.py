"""Ways to people outside: the channels that alarms go through, and the dead-man ping.

Rule of the package: apprise lives here and nowhere else. Addresses are secrets: they are in no log, name or error.
"""
