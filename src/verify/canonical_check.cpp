#include "verify/canonical_check.hpp"

#include "access/region_cursor.hpp"
#include "base/error.hpp"
#include "codec/archive_format.hpp"
#include "verify/published_digest.hpp"

namespace vmad::verify {
namespace {

bool has_canonical_headers(io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel) {
    auto cursor = access::RegionCursor::open(fs, file);
    if (!cursor) return false;
    for (access::StoredExtents extents; cursor->next(extents);) {
        cancel.check();
        cursor->check_headers(extents);
    }
    return true;
}

}  // namespace

Canonical canonical_by_headers(io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel) {
    try {
        switch (codec::format_of_file(fs, file)) {
            case codec::ArchiveFormat::raw:
            case codec::ArchiveFormat::zstd:
                return has_canonical_headers(fs, file, cancel) ? Canonical::yes : Canonical::no;
            case codec::ArchiveFormat::gzip:
            case codec::ArchiveFormat::lzo:
                return published_digest(fs, file) ? Canonical::yes : Canonical::unknown;
        }
    } catch (const access::NotCanonical&) {
    } catch (const base::InvalidArchive&) {
    } catch (const base::Unsupported&) {
    }
    return Canonical::no;
}

}  // namespace vmad::verify
