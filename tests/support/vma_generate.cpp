// vma-generate: archives for tests that are not C++. Streams, so that sizes of many GiB need little memory.
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "support/damage.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"

namespace {

using namespace vmad::testing;

struct Options {
    std::string out;
    std::string reference_out;
    std::string damage;
    bool list_damage = false;
    std::vector<std::string> disks = {"drive-scsi0=8M", "drive-efidisk0=540672"};
    std::vector<std::string> configs;
    std::uint64_t guest_seed = 1;
    bool random_guest = false;
    double zero_fraction = 0.3;
    std::uint64_t change = 0;
    std::uint64_t change_seed = 1;
    DumpOptions dump;
};

std::pair<std::string, std::string> split_at_equals(const std::string& argument) {
    const std::size_t at = argument.rfind('=');
    if (at == std::string::npos) throw std::invalid_argument("not NAME=VALUE: " + argument);
    return {argument.substr(0, at), argument.substr(at + 1)};
}

std::uint64_t parse_size(const std::string& text) {
    std::uint64_t number = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(end.ptr);
    if (end.ec == std::errc()) {
        if (unit.empty()) return number;
        if (unit == "K") return number << 10U;
        if (unit == "M") return number << 20U;
        if (unit == "G") return number << 30U;
    }
    throw std::invalid_argument("not a size: " + text);
}

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return to_bytes(text);
}

class OutputFile {
  public:
    /// "-" is standard output.
    explicit OutputFile(const std::string& path)
        : fd_(path == "-" ? STDOUT_FILENO
                          : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
        if (fd_ < 0) throw std::runtime_error("cannot open " + path);
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }

  private:
    int fd_;
};

/// Its descriptor stays open as long as the program runs.
Disk image_disk(const std::string& name, const std::string& path) {
    Disk disk{.name = name};
    disk.content.image = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const auto size = ::lseek(disk.content.image, 0, SEEK_END);
    if (disk.content.image < 0 || size < 0) throw std::runtime_error("cannot read " + path);
    disk.size_bytes = static_cast<std::uint64_t>(size);
    return disk;
}

Guest make_guest(const Options& options) {
    if (options.random_guest) return random_guest(options.guest_seed);
    std::vector<Disk> disks;
    for (const auto& argument : options.disks) {
        const auto [name, size] = split_at_equals(argument);
        if (size.starts_with('@')) {
            disks.push_back(image_disk(name, size.substr(1)));
            continue;
        }
        // By name, so that adding a disk leaves the others as they were.
        Disk disk{.name = name, .size_bytes = parse_size(size)};
        disk.content.seed = options.guest_seed;
        for (const char c : name) disk.content.seed = disk.content.seed * 31 + static_cast<unsigned char>(c);
        disk.content.zero_fraction = options.zero_fraction;
        disks.push_back(std::move(disk));
    }
    Guest guest = plausible_guest(std::move(disks));
    if (!options.configs.empty()) guest.configs.clear();
    for (const auto& argument : options.configs) {
        const auto [name, path] = split_at_equals(argument);
        guest.configs.push_back({name, read_file(path)});
    }
    return guest;
}

void run(const Options& options) {
    if (options.list_damage) {
        for (const auto& damage : damages()) std::cout << damage.id << '\t' << damage.defect << '\n';
        return;
    }
    if (options.out.empty()) throw std::invalid_argument("OUT is required");
    if (!options.damage.empty()) {
        const Bytes archive = damage_named(options.damage).build().bytes;
        return write_fully(OutputFile(options.out).fd(), archive);
    }
    Guest guest = make_guest(options);
    change_blocks(guest, options.change, options.change_seed);
    dump_to(OutputFile(options.out).fd(), guest, options.dump);
    if (options.reference_out.empty()) return;
    const Bytes canonical = reference_repack(dump(guest, options.dump));
    write_fully(OutputFile(options.reference_out).fd(), canonical);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Writes a VMA archive of a made-up guest, in disorder, as QEMU does.");
    app.add_option("OUT", options.out, "the archive; - for standard output");
    app.add_option("--guest-seed", options.guest_seed, "what the disks hold");
    app.add_flag("--random-guest", options.random_guest,
                 "a small adversarial guest by that seed, without --disk");
    app.add_option("--disk", options.disks, "NAME=SIZE, with K, M or G, or NAME=@IMAGE; may be repeated");
    app.add_option("--config", options.configs, "NAME=FILE; may be repeated; without it, a plausible one");
    app.add_option("--zero-fraction", options.zero_fraction, "share of the disks that is zero");
    app.add_option("--change", options.change, "number of blocks to change");
    app.add_option("--change-seed", options.change_seed, "which blocks, and to what");
    app.add_option("--dump-seed", options.dump.seed, "the uuid and the order of the clusters");
    app.add_option("--jitter", options.dump.jitter, "clusters in flight");
    app.add_option("--inject", options.dump.injected, "chance that guest writes bring clusters forward");
    app.add_flag("--shuffle", options.dump.shuffle, "no order at all");
    app.add_flag("--interleave", options.dump.interleave, "disks side by side");
    app.add_flag("--ascending", options.dump.ascending, "disks by ascending name");
    app.add_option("--ctime", options.dump.ctime, "seconds since 1970");
    app.add_option("--reference", options.reference_out,
                   "also write the canonical form there (small guests)");
    app.add_option("--damage", options.damage, "write this damaged archive instead");
    app.add_flag("--list-damage", options.list_damage, "print the ids of damaged archives");
    CLI11_PARSE(app, argc, argv);
    try {
        run(options);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "vma-generate: " << error.what() << '\n';
        return 1;
    }
}
