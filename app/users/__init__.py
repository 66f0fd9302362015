"""The people an app serves: who there is, all that is kept of one, and forgetting one."""
