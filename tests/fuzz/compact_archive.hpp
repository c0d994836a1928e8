// An archive in some hundred bytes, all of which matter: what fuzzers change instead of an archive, most of
// which is zeros and payload.
#pragma once

#include "fuzz_target.hpp"

namespace vmad::fuzz {

/// An archive of at most some 8 MiB, the caller's until the next call: fresh memory for each takes longest.
/// In the order of the input:
///
///     1       bit 0: the checksums are left as they are, where `may_be_unsealed`
///     1       so many more sectors of zeros has the header
///     2       so many bytes are cut off the end
///     2       size of the blobs
///     60      the header's first bytes
///     64, 64  the pointers of 16 config names and config data
///     8 x 32  dev_info of ids 0, 1, 2, 3, 5, 58, 254, 255
///     …       blobs, which stand behind the tables
///     then for each extent
///     512     its header
///     …       for each block of its block_count a byte: 0 for zeros, else for other content
[[nodiscard]] Bytes& expand(View compact, bool may_be_unsealed = true);

/// What expand() makes an archive of with this structure, and payload of its own. `archive` is valid, and has
/// no configs and devices but those that there is room for.
[[nodiscard]] Bytes compact(View archive);

/// Of generated archives.
[[nodiscard]] std::vector<Bytes> compact_seeds();

}  // namespace vmad::fuzz
