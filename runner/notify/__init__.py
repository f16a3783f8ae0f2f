"""Tell others of events of a run: webhooks, commands, and the services of Apprise.

In: events, recorded in the state with what they say. Out: each receiver of a spec has each of them at least once.
Read `events` (which there are) and `record` first, then `outbox`. `alarms` looks for events while a run is
followed; `send` has a function for each kind of receiver.
"""
