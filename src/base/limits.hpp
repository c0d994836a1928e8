// Limits and defaults of what both the settings of the daemon and the options of vmactl can tune.
#pragma once

#include <array>
#include <cstdint>

namespace vmad::base {

/// For the reorder buffer: clusters of an archive that were read and cannot be written yet.
inline constexpr std::uint64_t kMinMemoryBytes = std::uint64_t{16} << 20;
inline constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{64} << 30;
inline constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{256} << 20;

/// Changing the default would make every archive differ from those before it.
inline constexpr int kMinZstdLevel = 1;
inline constexpr int kMaxZstdLevel = 19;
inline constexpr int kDefaultZstdLevel = 3;

inline constexpr unsigned kMaxThreads = 64;

/// When the source of a repack is read once more before it is replaced.
enum class VerifySource {
    automatic,  ///< where its format has no checksum of its content
    always,
    off,
};
/// In the order of the enum.
inline constexpr std::array kVerifySourceWords{"auto", "always", "off"};

}  // namespace vmad::base
