#include "verify/source_check.hpp"

#include <cerrno>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/direct_source.hpp"

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

std::string SourceCheck::finish() try {
    if (sums_ && (when_ == base::VerifySource::always || !content_checked_)) read_again();
    return {};
} catch (const base::SystemError& error) {
    // What the first reading gave, and the copy holds, is all that there is now.
    if (error.number() != EIO) throw;
    task_.report_end(base::Stage::checking, 0);
    return fmt::format(
        "The original could not be read a second time ({}): the new archive holds what the "
        "first reading gave.",
        error.what());
}

void SourceCheck::read_again() {
    // What is not on the device yet cannot be read from there; and where O_DIRECT is refused, it would stay
    // in the page cache.
    io::sync_where_known(fs_, file_);
    io::DirectSource source(fs_, file_);
    io::ReadSums again(size_of(fs_, file_));
    std::vector<std::byte> piece(kPieceBytes);
    for (auto count = piece.size(); count == piece.size();) {
        task_.cancel_flag().check();
        iovec slice{piece.data(), piece.size()};
        count = source.read({&slice, 1});
        again.add({piece.data(), count});
        task_.report(base::Stage::checking, source.progress());
    }
    if (const auto block = sums_->first_difference(again))
        throw ReadsDiffer(
            fmt::format("two reads of {} differ at bytes {} to {}: memory, cable or disk may be failing; it "
                        "was not replaced",
                        file_.path(), block->begin, block->end - 1));
    task_.report_end(base::Stage::checking, source.progress().done_bytes);
}

}  // namespace vmad::verify
