//! What a task was granted, what it used, and what follows: ledger, CPU budget, slots, system calls.
