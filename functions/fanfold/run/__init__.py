"""What happens in a run: scope, spilling, the segment executor, plan and reduce."""
