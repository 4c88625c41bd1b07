"""
Clients of the field against a running server.

Each library runs in a process of its own, under the Python that has it, and
is told what to do by lines of JSON: see L{tests.clients.session}.
"""
