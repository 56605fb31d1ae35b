"""Staying legitimate while working: the tower's client, the lease keeper, the seats and the idle poll."""
