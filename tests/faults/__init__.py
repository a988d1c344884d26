"""Is anything lost when any call that changes files fails, or is the last one?"""
