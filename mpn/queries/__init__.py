"""The query cache: FFN inputs, computed once per model, site and list of texts.

Patches never change what lies below them, so these numbers serve every step, edit, trial and
resumed run at a site.
"""

from mpn.queries.cache import QueryCache
from mpn.queries.files import Storage
from mpn.queries.packed import PackedQueries, compute_packed

__all__ = ["PackedQueries", "QueryCache", "Storage", "compute_packed"]
