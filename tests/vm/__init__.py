"""The installed package in a virtual machine with pure cgroup v2 and SELinux enforcing."""
