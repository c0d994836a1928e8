#include "publish/archive_writer.hpp"

#include "io/storage.hpp"

namespace vmad::publish {

bool is_open_for_writing(io::FileSystem& fs, const io::File& archive) {
    if (!io::tells_writers(fs, archive)) return false;
    const auto lease = fs.try_lease(archive);
    if (lease == io::Lease::held) fs.end_lease(archive);
    return lease == io::Lease::open_for_writing;
}

}  // namespace vmad::publish
