"""Fleets for the tests of the simulator."""

from __future__ import annotations

SMALL = """
policies:
  - name: nightly
    schedule: {calendar: daily 22:00, zone: Europe/Berlin}
    jitter: 30m
    rpo: 26h
    window: {start: "22:00", end: "03:00"}
    start_within: 4h
    finish_within: 5h
  - name: busy
    items: {tags: [databases]}
    schedule: {calendar: every 2h, zone: UTC}
    rpo: 4h
    retry: {attempts: 2, longest_pause: 2m}
items:
  - {name: web, count: 60, policy: nightly, location: berlin, vault: cellar, size: {from: 1TiB, to: 8TiB}}
  - {name: db, count: 12, machines: 4, tags: [databases, prod], tenant: acme, vault: cellar, size: 20TiB, change: 20%}
workers:
  - {name: site, count: 3, slots: 4, mib_per_second: 100}
vaults: [{name: cellar, mib_per_second: 500}]
locations: [{name: berlin, mib_per_second: 200}]
slots: {global: 12, vault/cellar: 10, bandwidth/berlin: 120, tenant/acme: 4}
tenants: {acme: 2}
failures: {store-unreachable: 4%, source-failed: 2%, store-full: 1%}
losses: {per_day: 12, back_after: 10m}
outages: [{what: vault/cellar, from: 46h, until: 48h}, {what: tower, from: 70h, until: 72h}]
"""
"""Everything goes wrong that can: too little of everything, failures, lost workers, a vault and the tower down."""

EASY = """
policies:
  - name: nightly
    schedule: {calendar: daily 22:00, zone: UTC}
    jitter: 1h
    rpo: 26h
items:
  - {name: web, count: 20, policy: nightly, vault: cellar, size: 100GiB, change: 1%}
workers: [{name: site, count: 4, slots: 4, mib_per_second: 100}]
vaults: [{name: cellar}]
"""
"""More than enough of everything."""
