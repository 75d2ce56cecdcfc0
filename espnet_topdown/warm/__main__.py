"""``python3 -m espnet_topdown.warm``: see `espnet_topdown.warm.line`."""

import signal

from espnet_topdown.warm.groups import end_with_parent
from espnet_topdown.warm.line import main

if __name__ == "__main__":
    # A script that is killed alone leaves no command behind: this process ends those that it runs.
    end_with_parent(signal.SIGTERM)
    main()
