// vmactl create: an archive out of disk images and configs.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "pve/guest_config.hpp"
#include "repack/config_list.hpp"
#include "repack/image_dump.hpp"
#include "repack/new_archive.hpp"
#include "repack/qemu_image.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "OUT ends in .vma, .vma.zst, .vma.gz or .vma.lzo, or is - for standard output. It\n"
    "appears once it is complete, synced and verified, and is canonical.\n"
    "\n"
    "IMAGE is a raw file or a block device. One in another format is written\n"
    "FORMAT:IMAGE, for example --disk scsi0=qcow2:disk.qcow2; FORMAT is qcow2, qcow,\n"
    "qed, vmdk, vdi, vhdx, vpc or raw, and is never guessed. qemu-img converts such\n"
    "an image to a temporary file. Stop the guest first, or use a snapshot.\n"
    "\n"
    "The name scsi0 means drive-scsi0, as archives call it; so for ide, sata, virtio,\n"
    "efidisk and tpmstate. To be restored, an archive needs a qemu-server.conf that\n"
    "has a line \"#qmdump#map:scsi0:drive-scsi0:STORAGE:FORMAT:\" for each disk.";

struct DiskArgument {
    std::string name;
    std::string format;
    std::string path;
};

/// "scsi0", as the config calls it, is "drive-scsi0", as QEMU does.
std::string full_name(const std::string& name) {
    static constexpr std::array kBuses{"ide", "sata", "scsi", "virtio", "efidisk", "tpmstate"};
    const auto digits = name.find_first_of("0123456789");
    if (digits == name.npos || name.find_first_not_of("0123456789", digits) != name.npos) return name;
    const auto bus = name.substr(0, digits);
    const bool is_short = std::find(kBuses.begin(), kBuses.end(), bus) != kBuses.end();
    return is_short ? "drive-" + name : name;
}

DiskArgument parse_disk(const std::string& text) {
    const std::string form = "NAME=IMAGE or NAME=FORMAT:IMAGE";
    auto [name, image] = parse_named_value("--disk", text, form);
    for (const std::string format : repack::kImageFormats) {
        if (!image.starts_with(format + ":")) continue;
        image.erase(0, format.size() + 1);
        if (image.empty()) throw base::UsageError(fmt::format("--disk: write {}, not \"{}\"", form, text));
        return {full_name(name), format, image};
    }
    return {full_name(name), "raw", image};
}

std::uint64_t parse_time(const std::string& text) {
    std::uint64_t seconds = 0;
    const auto* end = text.data() + text.size();
    const auto [rest, fault] = std::from_chars(text.data(), end, seconds);
    if (fault != std::errc() || rest != end || seconds > INT64_MAX)
        throw base::UsageError(fmt::format(
            "--time or SOURCE_DATE_EPOCH is \"{}\": write seconds since 1970, as \"date +%s\" prints", text));
    return seconds;
}

/// Raw for none.
codec::ArchiveFormat format_called(const std::string& name) {
    using enum codec::ArchiveFormat;
    for (const auto format : {zstd, gzip, lzo})
        if (name == codec::format_name(format)) return format;
    return raw;
}

std::string parent_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path().string();
    return parent.empty() ? "." : parent;
}

class CreateCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("OUT", out_, "The new archive, or - for standard output").required();
        arguments.option("--disk", disk_texts_, "Add a disk from an image; repeatable")
            .value_name("NAME=IMAGE")
            .repeatable();
        arguments.option("--config", config_texts_, "Add a config, such as qemu-server.conf;\nrepeatable")
            .value_name("NAME=FILE")
            .repeatable();
        arguments
            .option("--time", time_,
                    "Time of the backup, in seconds since 1970\n"
                    "(default: SOURCE_DATE_EPOCH, or now)")
            .value_name("SECONDS")
            .environment("SOURCE_DATE_EPOCH");
        arguments
            .option("--format", format_, "raw, zstd, gzip or lzo; for standard output only\n(default raw)")
            .value_name("FORMAT")
            .one_of({"raw", "zstd", "gzip", "lzo"});
        arguments.flag("--force", options_.force, "Replace an existing OUT");
        arguments.flag("--no-verify", no_verify_, "Do not read OUT back to verify it");
        add_threads_option(arguments, options_.repack.task.threads);
        add_level_option(arguments, options_.repack.zstd_level);
        arguments
            .option("--spill-dir", options_.repack.spill.directory,
                    "Directory for temporary files if OUT's directory\n"
                    "cannot hold them (default /var/tmp)")
            .help_text("DIR");
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        options_.verify = !no_verify_;
        const StopSignals signals;
        options_.repack.task.cancel = &signals.flag();
        check_command_line(context);
        auto configs = read_configs(context.fs, "--config", config_texts_, signals.flag());
        repack::check_configs(configs);
        const auto warning = restore_warning(configs);
        const auto time = ctime();
        auto disks = open_disks(context);
        const auto header = repack::header_of(disks, std::move(configs), time);
        std::uint64_t disk_bytes = 0;
        for (const auto& disk : disks) disk_bytes += disk.size_bytes;
        const auto begin = std::chrono::steady_clock::now();
        repack::ImageDump dump(context.fs, header, std::move(disks));
        const auto result = write(context, dump);
        if (!warning.empty()) context.console.message(warning);
        if (!to_standard_output())
            print_summary(context, result, disk_bytes, std::chrono::steady_clock::now() - begin);
        return ExitCode::done;
    }

  private:
    [[nodiscard]] bool to_standard_output() const { return out_ == kStandardStream; }

    /// What is better said before gigabytes are converted.
    void check_command_line(Context& context) {
        if (disk_texts_.empty() && config_texts_.empty())
            throw base::UsageError("nothing to put into the archive: give --disk or --config");
        std::vector<std::string> names;
        for (const auto& text : disk_texts_)
            names.push_back(disk_arguments_.emplace_back(parse_disk(text)).name);
        repack::check_disk_names(names);
        if (to_standard_output() && context.options.json)
            throw base::UsageError("--json cannot be combined with an archive on standard output");
        if (to_standard_output()) return;
        if (!format_.empty())
            throw base::UsageError(
                "--format is for standard output; the ending of OUT tells the format of a file");
        if (!codec::format_of_name(out_))
            throw base::UsageError(fmt::format(
                "{} does not tell its format: end the name in .vma, .vma.zst, .vma.gz or .vma.lzo", out_));
        repack::check_new_archive(context.fs, out_, options_);
    }

    [[nodiscard]] std::uint64_t ctime() const {
        return time_.empty() ? static_cast<std::uint64_t>(std::time(nullptr)) : parse_time(time_);
    }

    [[nodiscard]] std::vector<repack::DiskImage> open_disks(Context& context) const {
        std::vector<repack::DiskImage> disks;
        for (const auto& argument : disk_arguments_) {
            disks.push_back(repack::image_of(context.fs, argument.name, open_disk(context, argument)));
        }
        return disks;
    }

    [[nodiscard]] io::File open_disk(Context& context, const DiskArgument& argument) const {
        auto image = repack::open_image(context.fs, argument.path);
        require_not_out(context, image);
        if (argument.format == "raw") return image;
        std::optional<io::File> directory;
        if (!to_standard_output()) directory = context.fs.open(parent_of(out_), O_RDONLY | O_DIRECTORY);
        auto place = options_.repack.spill;
        place.beside = directory ? &*directory : nullptr;
        ProgressBar bar(context.console, "converting " + printable(argument.path), {base::Stage::extracting});
        return repack::convert_to_raw(context.fs, argument.format, argument.path, place,
                                      {.cancel = options_.repack.task.cancel, .progress = bar.sink()});
    }

    /// It would be replaced by the archive.
    void require_not_out(Context& context, const io::File& image) const {
        if (to_standard_output()) return check_standard_output(image.fd(), "an archive");
        struct stat out {};
        const auto status = context.fs.status(image);
        if (::stat(out_.c_str(), &out) == 0 && out.st_dev == status.st_dev && out.st_ino == status.st_ino)
            throw base::UsageError(fmt::format("{} is one of the images", out_));
    }

    [[nodiscard]] engine::RepackResult write(Context& context, repack::ImageDump& dump) {
        auto source = codec::ArchiveSource::of_stream(dump, {});
        std::vector<base::Stage> stages{base::Stage::repacking};
        if (options_.verify && !to_standard_output()) stages.push_back(base::Stage::verifying);
        ProgressBar bar(context.console, archive_label(out_), stages);
        options_.repack.task.progress = bar.sink();
        if (!to_standard_output()) return repack::repack_to_file(context.fs, source, nullptr, out_, options_);
        auto options = options_.repack;
        options.format = format_called(format_);
        io::StreamSink sink(STDOUT_FILENO, "standard output", options.task.cancel);
        return engine::repack(context.fs, source, sink, options);
    }

    /// Empty when Proxmox VE can restore the archive, as far as can be told.
    [[nodiscard]] std::string restore_warning(const std::vector<vma::Config>& configs) const {
        const auto found = std::find_if(configs.begin(), configs.end(),
                                        [](const auto& config) { return config.name == pve::kGuestConfig; });
        if (found == configs.end())
            return "there is no qemu-server.conf: Proxmox VE cannot restore this archive";
        const auto mapped = pve::mapped_disks(found->data);
        for (const auto& disk : disk_arguments_)
            if (std::find(mapped.begin(), mapped.end(), disk.name) == mapped.end())
                return fmt::format(
                    "qemu-server.conf has no line \"#qmdump#map:DISK:{}:STORAGE:FORMAT:\": Proxmox VE "
                    "cannot restore this archive",
                    disk.name);
        return "";
    }

    void print_summary(Context& context, const engine::RepackResult& result, std::uint64_t disk_bytes,
                       std::chrono::duration<double> elapsed) const {
        const auto digest = result.fingerprint.digest.to_hex();
        if (context.options.json)
            return context.console.print_json({{"destination", out_},
                                               {"disk_bytes", disk_bytes},
                                               {"read_bytes", result.source_bytes},
                                               {"archive_bytes", result.archive_bytes},
                                               {"result_bytes", result.result_bytes},
                                               {"seconds", elapsed.count()},
                                               {"verified", options_.verify},
                                               {"digest", digest}});
        context.console.print(fmt::format(
            "{}: {} → {}, {}, digest {}\n", printable(out_), base::format_size(result.source_bytes),
            base::format_size(result.result_bytes), options_.verify ? "verified" : "not verified", digest));
    }

    std::string out_;
    std::vector<std::string> disk_texts_;
    std::vector<std::string> config_texts_;
    std::vector<DiskArgument> disk_arguments_;
    std::string time_;
    std::string format_;
    bool no_verify_ = false;
    repack::NewArchiveOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_create_command() { return std::make_unique<CreateCommand>(); }

}  // namespace vmad::ctl
