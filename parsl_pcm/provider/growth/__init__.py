"""Which blocks to ask for, which to give back, when to hold back: all of it pure.

1. ``growth.py``    the questions and their answers
2. ``demand.py``    what it is told of the work; the limits
3. ``history.py``   what became of the blocks so far; ``block.py``: one of them;
   ``holdback.py``: patience
4. ``needs.py``     what the open work still needs; ``allowance.py``: how much may be taken now;
   ``catalogue.py``: which flavour serves what best
5. ``surplus.py``   what nobody needs any more
"""
