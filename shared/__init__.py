"""What both planes must agree on byte for byte: nouns, wire messages, vault format, crypto, storage port.

Rule of the package: it imports neither plane, and a module enters only when both planes need it.
"""

VERSION = "0.1.0"
