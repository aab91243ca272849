"""What observes a process and the machine below it while they measure."""
