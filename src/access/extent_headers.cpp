#include "access/extent_headers.hpp"

#include <fcntl.h>

namespace vmad::access {

ExtentHeaders::ExtentHeaders(io::FileSystem& fs, const io::File& file, const base::TaskOptions& task,
                             std::unique_ptr<HeaderRecording> recording)
    : fs_(fs),
      file_(file),
      task_(task),
      size_bytes_(static_cast<std::uint64_t>(fs.status(file).st_size)),
      recording_(std::move(recording)) {
    // They are far apart: what stands behind one is not to be read.
    fs_.advise(file_, 0, 0, POSIX_FADV_RANDOM);
}

ExtentHeaders::ExtentHeaders(io::FileSystem& fs, const io::File& file, const base::TaskOptions& task,
                             std::unique_ptr<KeptHeaders> kept)
    : fs_(fs),
      file_(file),
      task_(task),
      size_bytes_(static_cast<std::uint64_t>(fs.status(file).st_size)),
      kept_(std::move(kept)) {}

bool ExtentHeaders::read(std::uint64_t offset, std::span<std::byte, vma::kExtentHeaderSize> into) {
    task_.cancel_flag().check();
    task_.report(base::Stage::repacking, io::SourceProgress{offset, size_bytes_});
    if (kept_) return kept_->next(into);
    if (io::read_fully_at(fs_, file_, into, offset) < into.size()) return false;
    if (recording_) recording_->add(into);
    return true;
}

void ExtentHeaders::rewind() {
    if (kept_) kept_->rewind();
    if (recording_) recording_->restart();
}

void ExtentHeaders::keep() {
    if (!kept_) fs_.advise(file_, 0, 0, POSIX_FADV_NORMAL);
    if (recording_) recording_->finish();
}

}  // namespace vmad::access
