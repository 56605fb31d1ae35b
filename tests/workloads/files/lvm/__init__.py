"""Files on logical volumes, in a guest of its own: kernels that tests run on have no device mapper for us.

``inside`` is what runs in the guest, without pytest; it prints what came of each case, and the tests look at that.
"""
