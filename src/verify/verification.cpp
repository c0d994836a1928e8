#include "verify/verification.hpp"

#include <fmt/format.h>

#include "verify/survey.hpp"

namespace vmad::verify {

void verify_copy(io::FileSystem& fs, const io::File& file, codec::ArchiveFormat format,
                 const Fingerprint& expected, const access::TaskOptions& options) {
    try {
        // What the device holds counts, not what memory holds of it.
        auto source = codec::ArchiveSource::of_direct(fs, file, {options.threads, options.cancel});
        const auto found = survey(source, options);
        if (found.format != format)
            throw VerificationError("the copy is of another format than it should be");
        if (!found.deviation.empty())
            throw VerificationError("the copy is not canonical: " + found.deviation);
        if (found.digest != expected.digest)
            throw VerificationError(
                fmt::format("the copy holds other content than its source: digest {}, not {}",
                            found.digest.to_hex(), expected.digest.to_hex()));
        if (Fingerprint{found.digest, found.header.configs, found.header.ctime} != expected)
            throw VerificationError("the copy has other configs or another ctime than its source");
    } catch (const base::FormatError& error) {
        throw VerificationError(fmt::format("the copy is not a valid archive: {}", error.what()));
    } catch (const base::Unsupported& error) {
        throw VerificationError(fmt::format("the copy is not a valid archive: {}", error.what()));
    }
}

}  // namespace vmad::verify
