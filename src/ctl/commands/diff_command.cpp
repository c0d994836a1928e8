// vmactl diff: what two archives of a guest share.

#include <array>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "access/archive_comparison.hpp"
#include "access/chunk_bound.hpp"
#include "access/disk_reader.hpp"
#include "access/index_cache.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/comparison_text.hpp"
#include "guest/confinement.hpp"

namespace vmad::ctl {
namespace {

/// An archive whose regions can be found.
struct IndexedArchive {
    std::string path;
    std::unique_ptr<ArchiveInput> input;
    std::unique_ptr<access::ArchiveIndex> index;
    std::optional<std::vector<access::DiskChecksums>> checksums;

    [[nodiscard]] bool is_canonical() const { return index->header().uuid == canon::kCanonicalUuid; }
};

/// Throws access::DamagedRegion.
guest::PartitionTable partitions_of(const IndexedArchive& archive, const vma::Device& device) {
    access::DiskReader reader(*archive.index, {.memory_bytes = std::uint64_t{16} << 20, .read_ahead = 1});
    return guest::read_partition_table(
        [&](std::uint64_t offset, std::span<std::byte> into) { reader.read_at(device.id, offset, into); },
        device.size_bytes);
}

std::vector<ComparedConfig> compare_configs(const std::vector<vma::Config>& older,
                                            const std::vector<vma::Config>& newer) {
    std::map<std::string, std::pair<const vma::Config*, const vma::Config*>> by_name;
    for (const auto& config : older) by_name[config.name].first = &config;
    for (const auto& config : newer) by_name[config.name].second = &config;
    std::vector<ComparedConfig> changes;
    for (const auto& [name, pair] : by_name) {
        const auto [was, is] = pair;
        if (was == nullptr || is == nullptr)
            changes.push_back({name, was == nullptr ? access::Change::added : access::Change::discarded});
        else if (was->data != is->data)
            changes.push_back({name, access::Change::changed});
    }
    return changes;
}

class DiffCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("OLDER", paths_[0], "Archive to compare with: path or volume ID").required();
        arguments.operand("NEWER", paths_[1], "Archive that is compared").required();
        arguments.flag("--map", map_, "Draw each disk: changed, unchanged, empty");
        arguments.flag("--blocks", blocks_, "Read both archives and compare block by block");
        add_threads_option(arguments, threads_);
        arguments.footer(
            "Two .vma.zst written by vmad are compared by the checksums in their seek tables,\n"
            "which takes a moment; others by reading what they store. A .vma need not be\n"
            "canonical; other archives have to be repacked first. Columns count content: what\n"
            "is zero takes no room. The exit status is 0 whether or not they differ.");
    }

    ExitCode run(Context& context) override {
        std::optional<ArchiveDifference> difference;
        try {
            const auto older = open(context, paths_[0]);
            const auto newer = open(context, paths_[1]);
            difference = compare(context, older, newer);
        } catch (const base::Error&) {
            return report_failure(context.console, about_);
        }
        print(context, *difference);
        return ExitCode::done;
    }

  private:
    IndexedArchive open(Context& context, const std::string& word) {
        about_ = word;
        const auto path = about_ = archive_name(context.fs, context.console, word).path;
        if (path == kStandardStream)
            throw base::UsageError("archives are read out of order: standard input cannot be compared");
        IndexedArchive archive{
            path,
            std::make_unique<ArchiveInput>(context.fs, path, io::CacheUse::peek, codec::SourceOptions{}),
            nullptr, std::nullopt};
        const auto& file = *archive.input->file();
        const StopSignals signals;
        ProgressBar bar(context.console, archive_label(path) + " (index)", {base::Stage::repacking});
        const access::IndexCache cache;
        archive.index =
            access::ArchiveIndex::read(context.fs, file, task_options(threads_, signals, bar), &cache);
        if (!blocks_) archive.checksums = access::read_region_checksums(context.fs, file, signals.flag());
        return archive;
    }

    ArchiveDifference compare(Context& context, const IndexedArchive& older, const IndexedArchive& newer) {
        guest::confine();  // partition tables are the guests'
        std::map<std::string, guest::PartitionTable> tables;
        access::ComparisonOptions options;
        options.parts = [&](const std::string& disk) {
            const auto& table = tables[disk] = read_table(context, older, newer, disk);
            std::vector<access::DiskPart> parts;
            for (const auto& partition : table.partitions)
                parts.push_back({partition.offset, partition.bytes});
            return parts;
        };
        ArchiveDifference difference;
        difference.older = older.path;
        difference.newer = newer.path;
        difference.newer_file_bytes =
            static_cast<std::uint64_t>(context.fs.status(*newer.input->file()).st_size);
        difference.newer_is_canonical = newer.is_canonical();
        if (older.checksums && newer.checksums)
            difference.chunk_bound =
                access::chunk_bound(*older.checksums, *newer.checksums, difference.newer_file_bytes);
        difference.by_content = !older.checksums || !newer.checksums;
        std::vector<access::DiskComparison> disks;
        try {
            disks = compare_disks(context, older, newer, options);
        } catch (const access::DamagedSide& damage) {
            about_ = (damage.is_newer() ? newer : older).path;
            throw base::InvalidArchive("damaged-region", damage.what());
        }
        for (auto& disk : disks) {
            auto& table = tables[disk.name];
            difference.disks.push_back({std::move(disk), std::move(table)});
        }
        difference.configs = compare_configs(older.index->header().configs, newer.index->header().configs);
        return difference;
    }

    std::vector<access::DiskComparison> compare_disks(Context& context, const IndexedArchive& older,
                                                      const IndexedArchive& newer,
                                                      access::ComparisonOptions& options) const {
        if (older.checksums && newer.checksums) {
            options.is_same = [&](const vma::Device& before, const vma::Device& after, std::uint32_t region) {
                return access::is_same_region(*older.index, before, *newer.index, after, region);
            };
            return access::compare_checksums(*older.checksums, *newer.checksums, options);
        }
        const StopSignals signals;
        ProgressBar bar(context.console, "comparing", {base::Stage::verifying});
        return access::compare_content(*older.index, *newer.index, options,
                                       task_options(threads_, signals, bar));
    }

    void print(Context& context, const ArchiveDifference& difference) const {
        if (context.options.json) return context.console.print_json(to_json(difference, map_));
        auto text = comparison_text(difference, context.console);
        if (map_) text = map_text(difference, context.console) + "\n" + text;
        context.console.print(text);
    }

    /// Of the newer archive that has the disk. Of a damaged one there is none; that is said, unless the
    /// comparison will find it.
    static guest::PartitionTable read_table(Context& context, const IndexedArchive& older,
                                            const IndexedArchive& newer, const std::string& disk) {
        for (const auto* archive : {&newer, &older})
            for (const auto& device : archive->index->header().devices) try {
                    if (device.name == disk) return partitions_of(*archive, device);
                } catch (const access::DamagedRegion& damage) {
                    if (older.checksums && newer.checksums)
                        context.console.message(
                            fmt::format("{}: {}; partitions are not shown", archive->path, damage.what()));
                    return {};
                }
        return {};
    }

    std::array<std::string, 2> paths_;
    bool map_ = false;
    bool blocks_ = false;
    unsigned threads_ = 1;
    std::string about_;  ///< the archive that is worked on
};

}  // namespace

std::unique_ptr<Command> make_diff_command() { return std::make_unique<DiffCommand>(); }

}  // namespace vmad::ctl
