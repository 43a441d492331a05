# Types in C for target_choice.py, where it is compiled (setup.py).

cpdef object choose_target(object tiers, bytes key, object free_shares=*, frozenset down=*, bint grpc=*)
