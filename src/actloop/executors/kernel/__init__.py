"""The kernel sandbox: model-written code in forked processes that the Linux kernel confines.

`host` starts sessions, `zygote` is the process they are forked from, `harden` confines one, `probe` tells what this
machine can confine.
"""
