"""The stage `emulate`: the service under the contract of a platform, on this machine.

`instances.py` starts and stops one instance, as a container or as a process; `cloud_run.py` is
what stands before the instances; `scenario.py` sends requests and measures.
"""
