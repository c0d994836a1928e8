#include "verify/source_check.hpp"

#include <cerrno>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/direct_source.hpp"
#include "io/storage.hpp"

namespace vmad::verify {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

std::uint64_t size_of(io::FileSystem& fs, const io::File& file) {
    return static_cast<std::uint64_t>(fs.status(file).st_size);
}

}  // namespace

SourceCheck::SourceCheck(io::FileSystem& fs, const io::File& file, base::VerifySource when,
                         base::TaskOptions task)
    : fs_(fs), file_(file), when_(when), task_(std::move(task)) {
    if (when_ == base::VerifySource::off)
        task_.report_end(base::Stage::checking, 0);
    else
        sums_.emplace(size_of(fs, file));
}

void SourceCheck::look_at(const codec::ArchiveSource& source) {
    content_checked_ = source.content_checked();
    if (when_ == base::VerifySource::automatic && content_checked_)
        task_.report_end(base::Stage::checking, 0);
}

std::string SourceCheck::finish() {
    if (!sums_ || (when_ == base::VerifySource::automatic && content_checked_)) return {};
    // What is not on the device yet cannot be read from there; and where O_DIRECT is refused, it would stay
    // in the page cache.
    io::sync_where_known(fs_, file_);
    io::ReadSums again(size_of(fs_, file_));
    std::optional<io::ReadSums::Block> difference;
    std::string warning;
    try {
        read(again);
        difference = sums_->first_difference(again);
    } catch (const base::SystemError& error) {
        // A server may answer later. Of a disk, what the first reading gave, and the copy holds, is all that
        // there is now; unless it was bad, as far as that is seen.
        if (error.number() != EIO || io::is_on_network(fs_, file_)) throw;
        difference = sums_->first_difference_so_far(again);
        warning = fmt::format(
            "The original could not be read a second time ({}): the new archive holds what the "
            "first reading gave",
            error.what());
    }
    if (difference)
        throw ReadsDiffer(
            fmt::format("two reads of {} differ at bytes {} to {}: memory, cable or disk may be failing; it "
                        "was not replaced",
                        file_.path(), difference->begin, difference->end - 1));
    task_.report_end(base::Stage::checking, size_of(fs_, file_));
    return warning;
}

void SourceCheck::read(io::ReadSums& sums) {
    io::DirectSource source(fs_, file_);
    std::vector<std::byte> piece(kPieceBytes);
    for (auto count = piece.size(); count == piece.size();) {
        task_.cancel_flag().check();
        iovec slice{piece.data(), piece.size()};
        count = source.read({&slice, 1});
        sums.add({piece.data(), count});
        task_.report(base::Stage::checking, source.progress());
    }
}

}  // namespace vmad::verify
