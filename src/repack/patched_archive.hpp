// A damaged archive as it should be, read as a stream: what is whole in it, what other backups have of the
// rest, and what follows from the layout alone. One thread.
#pragma once

#include <memory>

#include "io/byte_stream.hpp"
#include "repack/repair_search.hpp"

namespace vmad::repack {

/// Uncompressed. `file` is the damaged archive; all of it outlives the result. Reads throw base::Error for
/// what is no longer as it was when it was chosen.
[[nodiscard]] std::unique_ptr<io::ByteSource> open_patched(const DamagedArchive& archive,
                                                           const io::File& file, const RegionChoices& choices,
                                                           RepairDonors& donors);

}  // namespace vmad::repack
