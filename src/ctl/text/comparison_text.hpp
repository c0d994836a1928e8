// What two archives share, as vmactl diff shows it: a table, a map of each disk, JSON. Pure, but for the
// locale of the environment.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "access/archive_comparison.hpp"
#include "ctl/text/console.hpp"
#include "guest/partition_table.hpp"

namespace vmad::ctl {

struct ComparedDisk {
    access::DiskComparison comparison;  ///< its parts are the partitions
    guest::PartitionTable table;        ///< of the newer archive; empty when it could not be read
};

struct ComparedConfig {
    std::string name;
    access::Change change = access::Change::equal;
};

struct ArchiveDifference {
    std::string older;  ///< paths
    std::string newer;
    std::uint64_t newer_file_bytes = 0;
    bool newer_is_canonical = false;
    std::optional<std::uint64_t> chunk_bound;  ///< of the newer file, when both are canonical zstd ones
    bool by_content = false;                   ///< else by checksums
    std::vector<ComparedDisk> disks;
    std::vector<ComparedConfig> configs;

    [[nodiscard]] bool is_equal() const;
};

/// Made for 80 columns and more.
[[nodiscard]] std::string comparison_text(const ArchiveDifference& difference, const Console& console);

/// Each disk as lines of characters, as wide as the console allows, with a legend. All disks have the same
/// scale.
[[nodiscard]] std::string map_text(const ArchiveDifference& difference, const Console& console);

/// With the ranges of each disk, if wanted.
[[nodiscard]] nlohmann::json to_json(const ArchiveDifference& difference, bool with_ranges);

}  // namespace vmad::ctl
