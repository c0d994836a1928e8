// Law: a settings file is taken or refused with one line that begins with its name; settings that are taken
// are the same after they were printed as TOML and read once more. Where the daemon is can be found out
// whatever the file says.
#include <toml++/toml.h>

#include "base/error.hpp"
#include "fuzz_target.hpp"
#include "settings/settings.hpp"
#include "settings/settings_file.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fuzz {
namespace {

const support::TemporaryDirectory& directory() {
    static const support::TemporaryDirectory made(scratch());
    return made;
}

settings::Settings without_origins(settings::Settings settings) {
    settings.origins.clear();
    return settings;
}

void run(View bytes) {
    Input input(bytes);
    directory().write("vmad.toml", input.text());
    const auto path = directory() / "vmad.toml";
    const auto demand_line = [&](const base::UsageError& error) {
        const std::string_view text = error.what();
        require(text.starts_with(path + ":") && text.find('\n') == text.npos,
                "an error is a line that names the file");
    };
    try {
        (void)settings::parse_what_is_valid(path);
    } catch (const base::UsageError& error) {
        demand_line(error);
    }
    try {
        const auto loaded = settings::load_file(path);
        std::string printed;
        for (const auto& line : settings::describe(loaded.settings))
            if (line.origin != "default") printed += std::string(line.key) + " = " + line.value + "\n";
        directory().write("printed.toml", printed);
        const auto again = settings::load_file(directory() / "printed.toml");
        require(without_origins(again.settings) == without_origins(loaded.settings),
                "settings are the same after they were printed and read again");
    } catch (const base::UsageError& error) {
        demand_line(error);
    }
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    for (const auto* text :
         {"socket = \"/run/s\"\nstate_dir = '/var/lib/v'\ndirectories = [\"/mnt/a\", \"/mnt/b\"]\n",
          "workers = 2\nthreads = 4\nmemory = \"1 GiB\"\nspill_dir = \"/var/tmp\"\nzstd_level = 3\n",
          "bwlimit = \"10 MiB\"\nreserve = \"1 GiB\"\nstart_window = \"22:00-06:00\"\nshare_blocks = "
          "\"auto\"\n",
          "verify_every = \"30d\"\nverify_window = \"01:00-02:00\"\nverify_bwlimit = \"1 MiB\"\nnotify = "
          "\"proxmox\"\n",
          "defer_while_vzdump_runs = false\ngrace_period = \"15m\"\nkeep_days = 30\nkeep_jobs = 10\n",
          "metrics_file = \"/m\"\non_success = [\"/bin/true\", \"a b\"]\non_failure = []\ncommand_timeout = "
          "\"5m\"\n",
          "[table]\nkey = { a = 1979-05-27T07:32:00Z, b = [1.5, 0x1f, inf] }\n\"\\u00e4\" = '''\nx'''\n"})
        result.push_back(bytes_of(text));
    return result;
}

const Registration registration({"settings", 100, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
