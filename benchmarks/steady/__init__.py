"""What shows only in time: start-up, stalls, memory after many streams, idle streams, many policies, a soak."""
