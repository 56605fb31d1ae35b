"""Commands around a backup: one that brings what is protected to rest, and one that lets it go on.

What a tower may have run on a machine is the machine's own decision: a folder of programs (``permission``). The command
after is owed from before the first one begins until it has run (``debt``): a worker that is killed leaves it to its
guard, and a machine that lost its power to the item's next backup.

Rule of the package: it knows commands, and nothing of what they are for.
"""
