"""Sets and maps in temporary files, so that memory stays flat; nothing in them outlives the process."""
