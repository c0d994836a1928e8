#include "verify/canonical_check.hpp"

#include <mutex>
#include <thread>
#include <vector>

#include "access/region_cursor.hpp"
#include "base/threads.hpp"
#include "codec/archive_format.hpp"
#include "io/byte_stream.hpp"
#include "verify/published_digest.hpp"

namespace vmad::verify {
namespace {

/// Finds the extents of an archive one after the other, and checks the headers of several at once.
class HeaderCheck {
  public:
    HeaderCheck(access::RegionCursor cursor, std::uint64_t file_bytes, const base::TaskOptions& task)
        : cursor_(std::move(cursor)), file_bytes_(file_bytes), task_(task) {}

    /// Throws access::NotCanonical, base::SystemError, base::Cancelled.
    void run() {
        std::vector<std::jthread> threads;
        for (unsigned i = 1; i < task_.threads; ++i) threads.emplace_back([this] { check(); });
        check();
        threads.clear();
        error_.rethrow();
    }

  private:
    void check() noexcept {
        try {
            for (auto extents = next(); !extents.empty() && !error_.any(); extents = next())
                for (const auto& found : extents) cursor_.check_headers(found);
        } catch (...) {
            error_.capture();
        }
    }

    std::vector<access::StoredExtents> next() {
        task_.cancel_flag().check();
        std::vector<access::StoredExtents> some;
        const std::lock_guard lock(mutex_);
        while (!ended_ && some.size() < kAtOnce) {
            access::StoredExtents extents;
            ended_ = !cursor_.next(extents);
            if (!ended_) some.push_back(extents);
        }
        if (!some.empty())
            task_.report(base::Stage::verifying,
                         io::SourceProgress{some.back().frame.stored_offset, file_bytes_});
        return some;
    }

    static constexpr std::size_t kAtOnce = 64;

    access::RegionCursor cursor_;
    std::uint64_t file_bytes_;
    const base::TaskOptions& task_;
    std::mutex mutex_;  ///< of the next extents; check_headers() needs nothing that changes
    bool ended_ = false;
    base::FirstError error_;
};

bool has_canonical_headers(io::FileSystem& fs, const io::File& file, const base::TaskOptions& task) {
    auto cursor = access::RegionCursor::open(fs, file);
    if (!cursor) return false;
    HeaderCheck(std::move(*cursor), static_cast<std::uint64_t>(fs.status(file).st_size), task).run();
    return true;
}

}  // namespace

Canonical canonical_by_headers(io::FileSystem& fs, const io::File& file, const base::TaskOptions& task) {
    try {
        switch (codec::format_of_file(fs, file)) {
            case codec::ArchiveFormat::raw:
            case codec::ArchiveFormat::zstd:
                return has_canonical_headers(fs, file, task) ? Canonical::yes : Canonical::no;
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
