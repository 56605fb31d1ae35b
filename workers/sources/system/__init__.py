"""What a machine is besides its data: packages, configuration, disks, how it boots; and a plan to make it again.

Rule of the package: it only asks. What a program would not say is named, and never left out in silence.
"""
