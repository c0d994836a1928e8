#include "verify/copy_verification.hpp"

#include <utility>

#include <fmt/format.h>

#include "io/direct_source.hpp"
#include "io/storage.hpp"

namespace vmad::verify {
namespace {

void compare(const Survey& found, codec::ArchiveFormat format, const Fingerprint& expected) {
    if (found.format != format) throw VerificationError("the copy has the wrong format");
    if (!found.deviation.empty()) throw VerificationError("the copy is not canonical: " + found.deviation);
    if (found.digest != expected.digest)
        throw VerificationError(fmt::format("content digest mismatch: the copy has {}, its source {}",
                                            found.digest.to_hex(), expected.digest.to_hex()));
    if (Fingerprint{found.digest, found.device_digests, found.header.configs, found.header.ctime} != expected)
        throw VerificationError("the configs or the ctime of the copy differ from its source");
}

}  // namespace

ReadBack fitting_read_back(io::FileSystem& fs, const io::File& file) {
    // Read through the page cache, what is read behind the writer would not come from the device.
    const bool is_fitting = io::is_on_solid_state(fs, file) && fs.reopen_direct(file);
    return is_fitting ? ReadBack::behind_writer : ReadBack::afterwards;
}

CopyVerification::CopyVerification(io::FileSystem& fs, const io::File& file, codec::ArchiveFormat format,
                                   base::TaskOptions options, ReadBack read_back)
    : fs_(fs), file_(file), format_(format), options_(std::move(options)) {
    if (read_back == ReadBack::behind_writer)
        survey_ = std::async(std::launch::async, [this] { return read_behind_writer(); });
}

CopyVerification::~CopyVerification() {
    boundary_.abort();
    if (survey_.valid()) survey_.wait();
}

void CopyVerification::written(std::uint64_t bytes) {
    if (!survey_.valid()) return;
    boundary_.advance(bytes);
    // It cannot have come to an end yet, but to a bad one.
    if (survey_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) (void)result();
}

void CopyVerification::finish(const Fingerprint& expected) {
    boundary_.complete(static_cast<std::uint64_t>(fs_.status(file_).st_size));
    compare(result(), format_, expected);
}

Survey CopyVerification::result() {
    try {
        return survey_.valid() ? survey_.get() : read_whole();
    } catch (const base::FormatError& error) {
        throw VerificationError(fmt::format("the copy is not a valid archive: {}", error.what()));
    } catch (const base::Unsupported& error) {
        throw VerificationError(fmt::format("the copy is not a valid archive: {}", error.what()));
    }
}

Survey CopyVerification::read_behind_writer() {
    io::DirectSource device(fs_, file_, boundary_);
    auto source = codec::ArchiveSource::of_stream(device, {options_.threads, options_.cancel});
    return survey(source, options_);
}

Survey CopyVerification::read_whole() {
    // What the device holds counts, not what memory holds of it.
    auto source = codec::ArchiveSource::of_direct(fs_, file_, {options_.threads, options_.cancel});
    return survey(source, options_);
}

}  // namespace vmad::verify
