"""The command line: one function per command, no logic; the only place that prints.

`app` holds the commands' tree and `main`; `opened` what each command starts from; the other
modules the commands themselves, by subject.
"""
